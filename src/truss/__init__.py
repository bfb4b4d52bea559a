"""Truss: any trained model, packaged from a notebook, served fast, deployed to any cloud."""
