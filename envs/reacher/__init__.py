"""Reacher: Gymnasium's two-link arm, seen from above; two torques move its tip to a target."""
