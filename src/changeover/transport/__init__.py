"""Transport: how the processes of one server talk, without pickle and without copies that can be spared."""
