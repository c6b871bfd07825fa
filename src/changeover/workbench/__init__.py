"""WORKBENCH   what `changeover model diff` and `optimize` do: models as files, looked at and compared, no server."""
