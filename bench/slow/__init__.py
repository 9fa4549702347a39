"""What pages do while hundreds of connections are slow, silent, or do not read."""
