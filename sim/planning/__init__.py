"""Which fleet to buy: every deployment estimated in closed form, the promising ones simulated, the best one stressed."""
