"""What torch.save and its relatives write: containers, storages, and the folders around them."""
