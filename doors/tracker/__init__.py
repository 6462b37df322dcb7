"""Doors of the stock tracker."""
