"""ONNX: models of any origin as a graph file, served by ONNX Runtime."""
