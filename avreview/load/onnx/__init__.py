"""ONNX files: protobuf messages in, a flat graph out."""
