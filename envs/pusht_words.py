"""What is said in PushT: many ways to name the nine moves, and some that are kept for the judge.

Takes: a move.  Gives: phrases.  Knows nothing of: the simulator, the model.
"""

from __future__ import annotations

import itertools

# in the order of `streamdit_gym.envs.pusht.MOVES`
MOVE_NAMES = ("stay", "up", "up right", "right", "down right", "down", "down left", "left", "up left")

_WAYS: dict[str, tuple[str, ...]] = {
    "up": (
        "up", "upwards", "upward", "north", "to the top", "toward the top edge", "straight up", "due north", "northbound",
        "to the north", "toward the north side", "skyward", "toward the ceiling", "toward twelve o'clock", "uphill", "higher",
        "up the table", "vertically up", "to the head of the table", "against gravity", "away from the floor", "in the up direction",
        "on an upward path", "to a higher spot",
    ),
    "down": (
        "down", "downwards", "downward", "south", "to the bottom", "toward the bottom edge", "straight down", "due south", "southbound",
        "to the south", "toward the south side", "groundward", "toward the floor", "toward six o'clock", "downhill", "further below",
        "down the table", "vertically down", "to the foot of the table", "with gravity", "away from the ceiling", "in the down direction",
        "on a downward path", "to a deeper spot",
    ),
    "left": (
        "left", "leftwards", "leftward", "west", "to the left", "toward the left edge", "straight left", "due west", "westbound",
        "to the west", "toward the west side", "to the left hand side", "toward nine o'clock", "to my left", "further left", "leftways",
        "across to the left", "sideways left", "horizontally left", "away from the right edge", "in the left direction",
        "on a leftward path", "to a spot on the left", "westerly",
    ),
    "right": (
        "right", "rightwards", "rightward", "east", "to the right", "toward the right edge", "straight right", "due east", "eastbound",
        "to the east", "toward the east side", "to the right hand side", "toward three o'clock", "to my right", "further right",
        "rightways", "across to the right", "sideways right", "horizontally right", "away from the left edge", "in the right direction",
        "on a rightward path", "to a spot on the right", "easterly",
    ),
}  # fmt: skip
_COMPASS = {"up": "north", "down": "south", "left": "west", "right": "east"}
_PLACE = {"up": "top", "down": "bottom"}
_TEMPLATES = (
    "move {}", "go {}", "push {}", "slide {}", "head {}", "{}", "steer {}", "drive {}", "nudge it {}", "shift {}",
    "move the pusher {}", "push the blue dot {}", "the pusher moves {}", "the blue circle goes {}", "take a step {}",
    "please go {}", "could you move {}", "now move {}", "send the pusher {}", "keep going {}", "bring the dot {}",
    "the robot pushes {}", "travel {}", "walk the dot {}", "glide {}", "roll it {}", "turn {} and go", "proceed {}", "carry it {}",
    "let it drift {}", "hurry {}", "dash {}", "jump {}", "pull it {}", "swing {}", "point it {}", "fly {}", "crawl {}",
    "get the circle {}", "I want it {}", "a bit {}", "all the way {}", "{} please", "{} now", "one step {}", "continue {}",
    "move it {}", "take the pusher {}", "guide it {}", "shove it {}", "bring it {}", "place it {}", "slowly {}", "quickly {}",
    "let's go {}", "try to go {}", "you should head {}", "it should go {}", "the dot wants to go {}", "next, {}", "and now {}",
    "again {}", "start moving {}", "begin to move {}", "creep {}", "sail {}", "hop {}", "rush {}", "shuffle {}", "swerve {}",
    "set off {}", "the direction is {}", "your target lies {}", "lead the circle {}", "back {}", "straight away {}",
)  # fmt: skip
# said in full: ways that fit no template
_WHOLE: dict[str, tuple[str, ...]] = {
    "up": ("raise it", "raise the pusher", "elevate the dot", "hoist it", "float", "soar", "take off", "get on top", "increase the height"),
    "down": ("fall", "let it fall", "plunge", "dive", "land", "put it on the floor", "get to the bottom", "decrease the height", "duck"),
    "left": ("the left one", "turn left", "take the left", "the left side", "left hand", "port side"),
    "right": ("the right one", "turn right", "take the right", "the right side", "right hand", "starboard side"),
}  # fmt: skip
_STAYS = (
    "stay", "stay still", "stop", "do not move", "hold", "wait", "hold position", "stand still", "keep still", "freeze",
    "remain in place", "stay where you are", "do nothing", "pause", "the pusher stays", "the blue dot does not move",
    "rest", "hold the pusher still", "stay put", "no movement", "please wait", "could you stop", "now stop", "halt",
    "leave the pusher where it is", "the robot waits", "keep the dot where it is", "remain still", "idle", "be still",
    "stop moving", "stop the pusher", "wait here", "do not push", "stand by", "stay there", "no action",
    "hold the blue circle in place", "the pusher rests", "stay in the same place", "stay here", "hold on", "hold it", "don't move",
    "don't push", "don't touch it", "do not go anywhere else", "keep your place", "no more steps", "stand where you are", "sit still",
    "take a break", "zero motion", "make no move", "remain", "remain here", "nothing", "nothing for now", "park it", "brake",
    "cease moving", "the dot stands still", "the pusher is at rest", "let it be", "leave it", "leave it there", "steady", "motion off",
    "be quiet", "stop right there", "stay on the spot", "relax", "do not do anything", "lock the position", "keep calm",
    "hold it right there", "right there, wait", "stay right where it is", "keep it right there", "stop it right now", "stop right now",
    "just wait", "just stop", "just hold it", "do not go", "please stop", "please hold still", "please do nothing", "no step now",
    "standing still", "standstill", "come to a stop", "come to rest", "be at rest", "immobile", "static", "unmoving", "still", "none",
    "zero", "neutral", "no direction", "in no direction", "neither left nor right", "neither up nor down", "not a step",
    "not an inch", "the same spot as before", "same place please", "stay in this spot", "hold your ground", "wait a moment",
    "hold for a while", "rest here", "rest in place", "let it rest", "let it stand", "nothing to do", "nothing moves",
    "everything stays", "hands off", "off", "stay for now", "the pusher remains", "the circle waits right there",
)  # fmt: skip


def _ways(name: str) -> tuple[str, ...]:
    """Return the ways to say one direction."""
    if name in _WAYS:
        return _WAYS[name]
    vertical, side = name.split()
    north, east = _COMPASS[vertical], _COMPASS[side]
    corner = f"{_PLACE[vertical]} {side}"
    return (
        name, f"{vertical} and {side}", f"{vertical} and to the {side}", f"diagonally {name}", f"{side} and {vertical}",
        north + east, f"{north} {east}", f"toward the {corner} corner", f"to the {corner}", f"{north} and {east}",
        f"to the {north}{east}", f"both {vertical} and {side}", f"into the {corner} corner", f"{vertical}wards and {side}wards",
        f"halfway between {north} and {east}", f"along the diagonal {vertical} and {side}",
        f"diagonally toward the {corner}", f"in the {north}{east} direction", f"{north}-{east}", f"{vertical} as well as {side}",
        f"on the diagonal between {vertical} and {side}", f"where {north} meets {east}", f"to the {corner} of the table",
        f"{corner} corner",
    )  # fmt: skip


def phrases(action: int) -> tuple[str, ...]:
    """Return every phrase of one action; the first is what the environment says."""
    name = MOVE_NAMES[action]
    if name == "stay":
        return _STAYS
    spoken = [t.format(way) for t, way in itertools.product(_TEMPLATES, _ways(name))]
    return tuple(dict.fromkeys([*spoken, *_WHOLE.get(name, ())]))


# Written by hand in other words than the grammar's; never trained on, kept for measuring how free text is followed.
UNSEEN_PHRASES: tuple[tuple[str, ...], ...] = (
    ("remain motionless", "don't go anywhere", "stay right here", "no motion please", "just stand there"),
    ("climb up", "lift it to the top", "make it rise", "head for the top side", "ascend"),
    ("aim for the top right", "go northeast please", "up, then right", "move to the upper right", "the upper right corner"),
    ("run to the right side", "eastward", "take it right", "move it over to the right", "scoot right"),
    ("aim for the bottom right", "go southeast please", "down, then right", "move to the lower right", "the lower right corner"),
    ("drop down", "lower it to the bottom", "make it sink", "head for the bottom side", "descend"),
    ("aim for the bottom left", "go southwest please", "down, then left", "move to the lower left", "the lower left corner"),
    ("run to the left side", "westward", "take it left", "move it over to the left", "scoot left"),
    ("aim for the top left", "go northwest please", "up, then left", "move to the upper left", "the upper left corner"),
)  # fmt: skip
