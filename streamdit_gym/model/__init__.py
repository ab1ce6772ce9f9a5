"""The StreamDiT transformer."""
