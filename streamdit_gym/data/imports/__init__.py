"""Other people's recordings become data sets: LeRobot, Minari, or videos with captions."""
