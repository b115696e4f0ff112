"""Regressors in closed form, whose scores are averaged with those of a head's networks."""
