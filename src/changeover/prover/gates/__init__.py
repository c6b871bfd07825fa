"""The gates that compare a candidate with a golden set, with the active version, and with the room there is."""
