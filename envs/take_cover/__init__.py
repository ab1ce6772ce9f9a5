"""VizDoom's Take Cover: monsters throw fireballs, a player steps aside."""
