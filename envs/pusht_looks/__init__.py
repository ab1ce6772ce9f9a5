"""PushT in many colours, which prompts name."""
