"""The planner's answers: as a table, and as what starts the fleet that was chosen."""
