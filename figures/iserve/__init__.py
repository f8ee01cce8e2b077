"""MaverIQ's figures (the system of iServe): one file per figure, one for the world that they share."""
