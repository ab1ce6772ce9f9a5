"""PushT: a pusher, a T-shaped block and its goal, seen from above."""
