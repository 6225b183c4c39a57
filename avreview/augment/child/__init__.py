"""What runs in the child process of an augmentation check: scenes, seeding, adapters and the measuring itself."""
