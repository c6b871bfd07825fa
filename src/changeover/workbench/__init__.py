"""WORKBENCH   `changeover model diff`, `optimize` and `tune`: models as files, compared and measured, no server."""
