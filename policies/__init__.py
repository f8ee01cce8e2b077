"""What decides: pure policies, the views they read and the decisions they return. No clock, no I/O, no world."""
