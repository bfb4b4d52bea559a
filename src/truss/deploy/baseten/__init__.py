"""Baseten: a model of a workspace, made from the folder of the Truss."""
