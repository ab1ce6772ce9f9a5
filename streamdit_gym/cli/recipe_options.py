"""Options of earlier releases that are settings of a recipe now."""

from __future__ import annotations

TRAIN_FIELDS = {
    "--preset": "preset",
    "--codec-steps": "autoencoder.steps",
    "--decoder-steps": "continue_from.decoder_steps",
    "--adapt-codec": "continue_from.adapt_autoencoder",
    "--looks": "appearance.channels",
    "--head-steps": "readout.steps",
    "--looks-steps": "appearance.steps",
    "--words-only": "dynamics.text_only",
    "--keep": "continue_from.weight_interpolation",
    "--clips": "dynamics.clips",
    "--micro-steps": "dynamics.micro_steps",
    "--rate": "dynamics.rate_scale",
    "--by-minutes": "dynamics.end_with_minutes",
    "--continue-from": "continue_from.world",
    "--prompt-encoder": "prompt_encoder",
}
DISTILL_FIELDS = {
    "--partition": "distillation.partitions",
    "--teacher-steps": "distillation.teacher_steps",
    "--one-by-one": "distillation.autoregressive_teacher",
    "--temperature": "distillation.temperature",
    "--guidance": "distillation.guidance",
    "--streams": "distillation.streams",
    "--rate": "distillation.rate_scale",
    "--by-minutes": "distillation.end_with_minutes",
    "--prompt-encoder": "prompt_encoder",
}
THREADS_REMEDY = "set the environment variable OMP_NUM_THREADS"


def removed_options() -> dict[tuple[str, str], str]:
    """Return what to do instead of every removed option of train and distill."""
    remedies: dict[tuple[str, str], str] = {}
    for command, fields in (("train", TRAIN_FIELDS), ("distill", DISTILL_FIELDS)):
        for option, field in fields.items():
            remedies[command, option] = (
                f"set {field} in a recipe (recipe.py, with recipe = Recipe(...)) and give it as"
                f" {command} --recipe recipe.py"
            )
        remedies[command, "--threads"] = THREADS_REMEDY
    remedies["distill", "--decoder-blocks"] = (
        "use streamdit-gym distill-decoder WORLD; the number is decoder.blocks in the recipe"
    )
    return remedies
