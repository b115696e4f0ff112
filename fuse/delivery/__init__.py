"""Models to hand on: the ONNX graph, its check, and the model that ships."""
