"""Reviews kept from earlier runs, in the user's cache folder.

Nothing here is trusted: a kept review is given again only where its checksum holds, every file of its subject hashes to
what it hashed to, and all else that decides is equal.
"""
