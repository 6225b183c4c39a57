"""Formats that hold a program: TorchScript and exported programs."""
