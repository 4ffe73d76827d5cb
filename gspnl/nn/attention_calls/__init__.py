"""Attention inside any torch network: observe it, or replace its response."""
