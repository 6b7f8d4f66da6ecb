"""Hosting plugins, finding what they offer by name, and validating what they return."""
