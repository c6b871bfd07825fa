"""CONTROL PLANE: one process that decides; kill it and no client notices."""
