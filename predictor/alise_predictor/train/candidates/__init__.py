"""Predictors that are compared with the shipped one; one small module each."""
