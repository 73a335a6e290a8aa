"""A quantum key exchange: from Alice's pattern and Bob's time tags to a key on both sides.

`pattern` is what Alice sends, `receiver` finds pulses and gate in the tags, `sifting` compares
bases, `cascade` corrects errors, `hashing` verifies and amplifies, `session` joins them. The sides
speak through `messages`. `prediction` says how long the key should be. Not part of it is the
authentication of the channel.
"""
