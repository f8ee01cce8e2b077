"""Acme's routers."""
