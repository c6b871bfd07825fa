"""The data plane: decode, admit, route, batch, hand over, encode."""
