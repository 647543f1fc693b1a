"""What runs a network on CPUs beside PyTorch: OpenVINO or ONNX Runtime, both from one export of the network to ONNX."""
