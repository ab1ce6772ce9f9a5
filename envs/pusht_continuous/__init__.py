"""PushT with continuous actions: how far ahead of the pusher its target is set, in x and in y."""
