"""What one layer's operators cost on one GPU: from measured tables, from a profile of a served model, or from a roofline."""
