"""ATen's operators in ONNX's terms."""
