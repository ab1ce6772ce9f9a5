"""Reads scores that were written before their schema had a version."""

from __future__ import annotations

from typing import Any

Content = dict[str, Any]

ACTION_NAMES = {
    "inverse_dynamics_accuracy": "readback",
    "real_inverse_dynamics_accuracy": "readback_real",
    "action_fidelity": "readback_share",
    "chance": "chance",
    "next_frame_error": "loss_true",
    "other_actions_error_ratio": "shuffled_over_true",
    "idle_error_ratio": "zero_over_true",
}
TEXT_NAMES = {
    "menu_accuracy": "readback_menu",
    "unseen_accuracy": "readback_unseen",
    "unseen_ratio": "unseen_share",
}
READOUT_NAMES = {
    "real_potential_r": "potential_r_real",
    "real_step_gain_r": "step_r_real",
    "real_false_success": "false_success_real",
    "real_success_recall": "success_seen_real",
    "generated_potential_r": "potential_r_generated",
    "generated_gain_r": "gain_r_generated",
    "generated_false_success": "false_success_generated",
}


def upgrade(content: Content) -> Content:
    """Return version 1 of the scores as version 2."""
    objects = content["objects"]
    upgraded: Content = {name: content[name] for name in ("world", "partition", "episodes")}
    upgraded |= {
        "evaluator": _evaluator(content["judge"], objects),
        "codec": _codec(content["codec"]),
        "fidelity": [_fidelity(row, objects) for row in content["fidelity"]],
        "motion": content["motion"],
        "action": _renamed(content["obedience"], ACTION_NAMES),
        "text": _renamed(content["free_text"], TEXT_NAMES),
        "drift": _drift(content["drift"], objects),
        "reaction": _reaction(content["reaction"]),
        "readout": _readout(content["reward"], content["tasks"]),
        "criteria": [_criterion(promise) for promise in content["promises"]],
        "failure_modes": content["faults"],
    }
    optional = {
        "appearance": ("looks", _appearance),
        "policies": ("policies", _policies),
        "comparison": ("beside", _comparison),
    }
    if "speed" in content:
        upgraded["speed"] = content["speed"]
    for name, (old_name, convert) in optional.items():
        if old_name in content:
            upgraded[name] = convert(content[old_name])
    return upgraded


def _renamed(content: Content, names: dict[str, str], prefix: str = "") -> Content:
    return {name: content[prefix + old_name] for name, old_name in names.items()}


def _state_error(content: Content, prefix: str = "") -> Content:
    return {name: content[prefix + name] for name in ("actor_px", "body_px", "body_degrees")}


def _object_integrity(content: Content, objects: list[str], suffix: str = "") -> Content:
    return {name: content[f"whole_{name}{suffix}"] for name in objects}


def _evaluator(judge: Content, objects: list[str]) -> Content:
    return {
        "state_error": _state_error(judge),
        "actor_within_1px": judge["actor_within_1px"],
        "inverse_dynamics_accuracy": judge["readback"],
        "object_integrity": _object_integrity(judge, objects),
    }


def _codec(codec: Content) -> Content:
    return {
        "psnr_db": codec["moving_db"],
        "state_error": _state_error(codec),
        "actor_within_1px": codec["actor_within_1px"],
    }


def _fidelity(row: Content, objects: list[str]) -> Content:
    body_names = ("body_px", "body_degrees")
    return {
        "horizon": row["horizon"],
        "psnr_db": row["generated_db"],
        "copy_psnr_db": row["copy_db"],
        "codec_psnr_db": row["codec_db"],
        "ssim": row["generated_ssim"],
        "copy_ssim": row["copy_ssim"],
        "state_error": _state_error(row),
        "copy_state_error": _state_error(row, "copy_"),
        "moved_body": {name: row[f"moved_{name}"] for name in body_names},
        "copy_moved_body": {name: row[f"moved_copy_{name}"] for name in body_names},
        "object_integrity": _object_integrity(row, objects),
    }


def _drift(drift: Content, objects: list[str]) -> Content:
    ratios = {
        name: {
            "generated": drift[f"{name}_last_over_first"],
            "real": drift[f"{name}_of_the_twin"],
            "generated_over_real": drift[f"{name}_beside_the_twin"],
        }
        for name in ("sharpness", "level")
    }
    return {
        "frames": drift["frames"],
        "streams": drift["streams"],
        **ratios,
        "object_integrity": _object_integrity(drift, objects),
        "end_object_integrity": _object_integrity(drift, objects, "_at_the_end"),
    }


def _reaction(reaction: Content) -> Content:
    curves = {
        place: {
            "effect": reaction[f"{place}_curve"],
            "prompt_shows": reaction[f"{place}_obeys"],
            "frames_to_50": reaction[f"{place}_frames_to_50"],
            "frames_to_90": reaction[f"{place}_frames_to_90"],
        }
        for place in ("generated", "real")
    }
    return {"change_after": reaction["asked_after"], **curves}


def _readout(reward: Content, tasks: list[str]) -> Content:
    return {
        "horizon": reward["horizon"],
        "tasks": {task: _renamed(reward, READOUT_NAMES, prefix=f"{task}_") for task in tasks},
    }


def _appearance(looks: Content) -> Content:
    rates = {name: rate for name, rate in looks.items() if "_after_" in name}
    return {"prompts": looks["asked"], "rates": rates}


def _policies(policies: Content) -> Content:
    returns = {
        name: {"generated": generated, "real": real}
        for name, (generated, real) in policies["players"].items()
    }
    return {**policies, "returns": returns}


def _criterion(promise: Content) -> Content:
    return {
        "metric": "",
        "label": promise["about"],
        "bound": promise["asked"],
        "estimate": promise["found"],
        "passed": promise["kept"],
    }


def _comparison(beside: Content) -> Content:
    rows = [
        {
            "metric": "",
            "label": share["about"],
            "student": share["student"],
            "teacher": share["teacher"],
            "ratio": share["share"],
            "passed": share["kept"],
            "clearly_worse": share["clear"],
        }
        for share in beside["shares"]
    ]
    return {"teacher": beside["teacher"], "rows": rows}
