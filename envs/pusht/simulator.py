"""The PushT world: a round pusher, a T-shaped block and the T's goal, seen from above in a 64 x 64
frame.

Takes: a menu action.  Gives: the real simulator (gym-pusht), the tasks, the player that makes
    training data.
Knows nothing of: the model.

Lengths called ``px`` are pixels of the 64-pixel frame; the simulator's own table is 512 units wide,
so 1 px = 8 units. Directions are those of the picture: up is the top of the frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from streamdit_gym.definition import Task, WorldSpec
from streamdit_gym.envs.pusht.object_integrity import objects as objects
from streamdit_gym.envs.pusht.phrases import UNSEEN_PHRASES as UNSEEN_PHRASES
from streamdit_gym.envs.pusht.phrases import phrases
from streamdit_gym.envs.pusht.saved import FIRST_STATE, LONGEST_REPLAY, check_saved
from streamdit_gym.errors import ActionError, MissingExtraError, UnknownNameError

SIZE = 64
TABLE = 512.0
UNITS_PER_PX = TABLE / SIZE
STEP_UNITS = (
    48.0  # how far ahead of the pusher its target is set; about 3 px a step once it is moving
)
REACH_PX = 12.0  # no pusher comes further in four steps
MARGIN_UNITS = 20.0  # the pusher ignores walls, so its target is kept inside them
PUSHER_RADIUS_UNITS = 15.0
BLOCK_CENTRE_UNITS = (0.0, 45.0)  # of gravity, from the block's own origin
BLOCK_HULL_UNITS = (
    (-60, 0),
    (60, 0),
    (60, 30),
    (15, 120),
    (-15, 120),
    (-60, 30),
)  # corners, from the block's own origin
BLOCK_PARTS_UNITS = (
    (-60, 0, 60, 30),
    (-15, 30, 15, 120),
)  # its bar and its stem: least x, y and greatest, from its own origin
WALL_UNITS = 8.0  # what begins at a wall begins so far from the table's edge
WALL_FACE_UNITS, WALL_DEPTH_UNITS = (
    7.0,
    100.0,
)  # where gym-pusht draws the walls' inner faces, and how thick they are here
# how far the pusher may sink into the T before it is stopped; pushing a free T it hardly ever does
DENT_UNITS = 2.0
TOUCH_PX = 0.5
GOAL_MIDDLE_PX = np.array([28.0, 36.0])  # middle of the T at its goal

# stay, then the eight directions clockwise from up; (x, y) with y pointing down the picture
MOVES: tuple[tuple[int, int], ...] = (
    (0, 0),
    (0, -1),
    (1, -1),
    (1, 0),
    (1, 1),
    (0, 1),
    (-1, 1),
    (-1, 0),
    (-1, -1),
)
# a menu action as numbers, for data sets whose readers act in real numbers: the direction, of
# length 1 or 0
ACTION_NAMES = ("x", "y")
ACTION_VECTORS = tuple(
    (x / max(1.0, np.hypot(x, y)), y / max(1.0, np.hypot(x, y))) for x, y in MOVES
)

SPEC = WorldSpec(
    name="PushT",
    size=SIZE,
    fps=10.0,
    menu=tuple(phrases(a) for a in range(len(MOVES))),
    state_names=(
        "pusher_x_px",
        "pusher_y_px",
        "block_x_px",
        "block_y_px",
        "block_cos",
        "block_sin",
    ),
    simulator=2,  # 1: a pressed T sank into the walls
    score_names=("potential_reach", "potential_push", "success_reach", "success_push"),
    tasks={
        "push": Task(
            potential="potential_push",
            success="success_push",
            scale=0.2,
            bonus=5.0,
            threshold=0.7,
            horizon=128,
            about="push the T onto its goal; potential: minus the mean distance of the T's corners to their goal, px",
        ),
        "reach": Task(
            potential="potential_reach",
            success="success_reach",
            scale=0.1,
            bonus=1.0,
            threshold=0.9,
            horizon=64,
            about="drive the pusher until it touches the T; potential: minus the gap between pusher and T, px",
        ),
    },
)

# what the judge looks at: what obeys, and what is moved by it
ACTOR = ("pusher_x_px", "pusher_y_px")
BODY = ("block_x_px", "block_y_px", "block_cos", "block_sin")
EVALUATOR_VERSION = 1  # raise it whenever real frames look or move otherwise

# how episodes begin, with their share; see PushTSimulator.reset
STARTS = {"uniform": 0.45, "near_goal": 0.25, "anywhere": 0.3}
# how some more of the training data begin, and their share: what happens when a T is pressed
# against walls is rare otherwise
DRILL = ("cornered", 0.25)
CORNERED_UNITS = 25.0  # how far from its wall such a T begins, on average
# the mixed player's temper, drawn once per episode
TEMPERS = {"random": 0.4, "seek": 0.6}


class PushTSimulator:
    """gym-pusht behind nine spoken moves; see `streamdit_gym.types.Simulator` for the shared
    methods.

    Raises:
        MissingExtraError: if gym-pusht is not installed.
    """

    spec = SPEC

    def __init__(self) -> None:
        try:
            from gym_pusht.envs import PushTEnv
        except ImportError as error:
            raise MissingExtraError("gym-pusht", "pusht", "the real PushT simulator") from error
        self._env: Any = PushTEnv(
            obs_type="pixels",
            render_mode="rgb_array",
            observation_width=int(TABLE),
            observation_height=int(TABLE),
        )
        self._begun: list[float] = []
        self._taken: list[int] = []
        self._coverage = 0.0
        self._temper = "random"
        self._outwards = False  # whether it pushes towards the walls
        self._plan: list[
            tuple[np.ndarray, int]
        ] = []  # points to head for, and the most steps to spend on each
        self._held: tuple[int, int] | None = None

    def reset(
        self, rng: np.random.Generator, start: str = "uniform"
    ) -> UInt8[np.ndarray, "64 64 3"]:
        """Start an episode.

        Args:
            rng: draws where things are, and the mixed player's temper.
            start: ``uniform`` (as gym-pusht starts, but clear of walls and of each other),
                ``near_goal`` (the T near its goal), ``anywhere`` (walls included) or ``cornered``
                (the T at a wall or two, and `explore` pushes outwards).
        """
        if start not in (kinds := (*STARTS, DRILL[0])):
            raise UnknownNameError("start", start, kinds)
        least, most = (
            (MARGIN_UNITS, TABLE - MARGIN_UNITS)
            if start in ("anywhere", "cornered")
            else (50.0, 450.0)
        )
        pusher = rng.uniform(least, most, 2)
        spread = rng.choice([0.03, 0.1, 0.5, 1.0])
        angle = (
            np.pi / 4 + rng.normal(0, 0.5 * spread)
            if start == "near_goal"
            else rng.uniform(-np.pi, np.pi)
        )
        low, high = _room(angle)
        if start == "near_goal":
            block = np.array([256.0, 256.0]) + rng.normal(0, 40 * spread, 2)
        elif start == "uniform":
            block = rng.uniform(100, 400, 2)
        else:
            block = rng.uniform(low, high)
        if start == "cornered":
            at_wall = rng.permutation([True, rng.random() < 0.5])
            inwards = np.minimum(rng.exponential(CORNERED_UNITS, 2), high - low)
            block = np.where(
                at_wall, np.where(rng.random(2) < 0.5, low + inwards, high - inwards), block
            )
        block = np.clip(block, low, high)
        while _gap(pusher, block, angle) < PUSHER_RADIUS_UNITS:  # not inside the T
            pusher = rng.uniform(least, most, 2)
        self._take_heart(rng, outwards=start == "cornered")
        return self._begin([float(x) for x in (*pusher, *block, angle)])

    def put(
        self,
        rng: np.random.Generator,
        before: Float[np.ndarray, " 6"],
        action: int,
        state: Float[np.ndarray, " 6"],
        sure: Mapping[str, Float[np.ndarray, " 6"]] | None = None,
    ) -> None:
        """Start an episode at a state to which an action has led from the one before; what does not
        fit is moved to the nearest place.

        Args:
            rng: of the player's plans.
            before: as `state` gives it.
            action: index into `MOVES`.
            state: likewise.
            sure: if the states were read from frames: for each thing the newest state in which it
                was whole, if there is one. Of a bent T's three arms the stem is the one nearest to
                where it was then. A pusher that would have come too far since is not in the
                picture, and stays where it was; one that has been nowhere comes back in the corner
                that the T is not in.
        """
        known = {"pusher": state, "T": state} if sure is None else sure
        corner = np.where(state[2:4] < SIZE / 2, TABLE - MARGIN_UNITS, MARGIN_UNITS) / UNITS_PER_PX
        seen = known.get("pusher", corner)[:2]
        gone = "pusher" not in known or np.linalg.norm(state[:2] - seen) > REACH_PX
        poses = []
        for numbers in (before, state):
            block, angle = _upright(numbers, known.get("T", state))
            block = np.clip(block, *_room(angle))
            pusher = np.asarray(seen if gone else numbers[:2]) * UNITS_PER_PX
            poses.append(([*_beside(pusher, block, angle), 0.0], [*block, angle]))
        still = [0.0, 0.0, 0.0]
        self._place([float(x) for part in (poses[0][0], still, poses[0][1], still) for x in part])
        self.step(
            action
        )  # in a tenth of a second the controller forgets the speed that it began with
        speed = [*self._env.agent.velocity, 0.0]
        self._place([float(x) for part in (poses[1][0], speed, poses[1][1], still) for x in part])
        self._take_heart(rng, outwards=rng.random() < 0.5)

    def step(self, action: int) -> UInt8[np.ndarray, "64 64 3"]:
        """Aim the pusher's controller one step ahead in the action's direction for a tenth of a
        second.
        """
        if not 0 <= int(action) < len(MOVES):
            raise ActionError(
                "no such move", given=action, allowed=f"0..{len(MOVES) - 1}", remedy="see MOVES"
            )
        direction = np.array(MOVES[int(action)], dtype=float)
        length = np.linalg.norm(direction)
        target = self._pusher + (STEP_UNITS / length * direction if length else 0.0)
        target = np.clip(target, MARGIN_UNITS, TABLE - MARGIN_UNITS)
        self._taken.append(int(action))
        large, _, _, _, info = self._env.step(target)
        self._coverage = float(info["coverage"])
        return self._picture(large)

    def plain(self) -> UInt8[np.ndarray, "64 64 3"] | None:
        """Return nothing: PushT has one look."""
        return None

    def explore(self, rng: np.random.Generator) -> int:
        """Return the mixed player's next action: random holds,
        or noisy pushes of the T and drives through points on it.
        """
        if self._temper == "random":
            return self._hold(rng)
        if rng.random() < 0.15:
            return int(rng.integers(len(MOVES)))
        while self._plan and (
            self._plan[0][1] == 0 or np.linalg.norm(self._plan[0][0] - self._pusher) < 16
        ):
            self._plan.pop(0)
        if not self._plan:
            self._plan = self._drive(rng) if rng.random() < 0.3 else self._push(rng)
        aim, left = self._plan[0]
        self._plan[0] = (aim, left - 1)
        return nearest_move(aim - self._pusher)

    def said(self, action: int, phrase: str) -> str:
        """Return the menu's phrase."""
        return phrase

    def hear(self, text: str) -> str:
        """Return the text: there is nothing to do but to move."""
        return text

    def state(self) -> Float[np.ndarray, " 6"]:
        """Return pusher x, y and block x, y in px, and the block's cosine and sine."""
        pusher, block = self._pusher / UNITS_PER_PX, self._block
        return np.array(
            [*pusher, *(block[:2] / UNITS_PER_PX), np.cos(block[2]), np.sin(block[2])],
            dtype=np.float32,
        )

    def scores(self) -> Float[np.ndarray, " 4"]:
        """Return the two potentials (px, at most 0) and the two successes (0 or 1)."""
        shapes = self._env.block.shapes
        nearest = min(shape.point_query(tuple(self._pusher)).distance for shape in shapes)
        gap = max(0.0, nearest - PUSHER_RADIUS_UNITS) / UNITS_PER_PX
        goal = self._env.get_goal_pose_body(self._env.goal_pose)
        corners = [
            (shape.body.local_to_world(v) - goal.local_to_world(v)).length
            for shape in shapes
            for v in shape.get_vertices()
        ]
        misfit = float(np.mean(corners)) / UNITS_PER_PX
        reached, pushed = gap <= TOUCH_PX, self._coverage > self._env.success_threshold
        return np.array([-gap, -misfit, reached, pushed], dtype=np.float32)

    def save(self) -> tuple[list[float], list[int]]:
        """Return a state and the actions since; the simulator is deterministic, so they say
        everything.

        After too many actions it first begins again where it is: what has touched is then found out
        anew, which moves things by about a tenth of a pixel.
        """
        if len(self._taken) > LONGEST_REPLAY:
            self._place(
                [
                    x
                    for body in self._bodies
                    for x in (*body.position, body.angle, *body.velocity, body.angular_velocity)
                ]
            )
        return list(self._begun), list(self._taken)

    def restore(self, saved: tuple[list[float], list[int]]) -> None:
        """Come back to a saved state: play on from where it begins up to where it was saved.

        Raises:
            ArgumentError: if it is no saved state; nothing is changed then.
        """
        begun, taken = check_saved(saved, len(MOVES))
        if len(begun) == FIRST_STATE:
            self._begin(begun)
        else:
            self._place(begun)
        for action in taken:
            self.step(action)

    def close(self) -> None:
        """Close the simulator."""
        self._env.close()

    def _take_heart(self, rng: np.random.Generator, outwards: bool) -> None:
        """Draw the mixed player's temper for an episode."""
        self._temper = str(rng.choice(list(TEMPERS), p=list(TEMPERS.values())))
        self._outwards, self._plan, self._held = outwards, [], None

    def _begin(self, state: list[float]) -> UInt8[np.ndarray, "64 64 3"]:
        self._begun, self._taken = list(state), []
        x, y, angle = state[2:]
        # gym-pusht sets the block's angle after its place, which turns it about its centre of
        # gravity: undo the shift
        lever_x, lever_y = BLOCK_CENTRE_UNITS
        x += np.cos(angle) * lever_x - np.sin(angle) * lever_y - lever_x
        y += np.sin(angle) * lever_x + np.cos(angle) * lever_y - lever_y
        large, _ = self._env.reset(options={"reset_to_state": [*state[:2], x, y, angle]})
        self._thicken_walls()
        self._env.block.position_func = self._move_block
        self._coverage = float(self._env._get_coverage())
        return self._picture(large)

    def _place(self, state: list[float]) -> None:
        """Begin in the middle of an episode: place, angle and speeds of both bodies,
        in gym-pusht's units.
        """
        self._begin([64.0, 64.0, 256.0, 256.0, 0.0])
        self._begun = list(state)
        for body, (x, y, angle, *speed, turning) in zip(
            self._bodies, (state[:6], state[6:]), strict=True
        ):
            body.angle = angle
            body.position = x, y
            body.velocity, body.angular_velocity = tuple(speed), turning
            self._env.space.reindex_shapes_for_body(body)
        self._coverage = float(self._env._get_coverage())

    def _thicken_walls(self) -> None:
        """Put thick walls where gym-pusht's are: through its own, which are lines,
        a pusher can press the T out of the picture for good.
        """
        import pymunk

        space = self._env.space
        for line in space.static_body.shapes:
            line.sensor = True  # drawn, but in nothing's way
        inner, outer = (
            -4.0,
            -WALL_DEPTH_UNITS,
        )  # gym-pusht draws no radius: the walls stay out of the picture
        for turn in range(4):
            corners = [
                (outer, outer),
                (inner, outer),
                (inner, TABLE - outer),
                (outer, TABLE - outer),
            ]
            for _ in range(turn):
                corners = [(TABLE - y, x) for x, y in corners]
            space.add(pymunk.Poly(space.static_body, corners, radius=WALL_FACE_UNITS - inner))

    def _move_block(self, block: Any, dt: float) -> None:
        """Move the T, keep it between the walls, and stop a pusher that would sink into it.

        Nothing stops gym-pusht's pusher, so it presses a T that has nowhere to go through the wall,
        or itself into the T.
        """
        import pymunk

        pymunk.Body.update_position(block, dt)
        shapes = (
            self._env._block_shapes
        )  # a body's own are a set, in no order that would stay the same
        boxes = [shape.cache_bb() for shape in shapes]
        low, high = WALL_FACE_UNITS, TABLE - WALL_FACE_UNITS
        right = max(0.0, low - min(box.left for box in boxes)) - max(
            0.0, max(box.right for box in boxes) - high
        )
        down = max(0.0, low - min(box.bottom for box in boxes)) - max(
            0.0, max(box.top for box in boxes) - high
        )
        block.position += (right, down)
        pusher = self._env.agent  # it was moved before the block
        for shape in shapes:
            shape.cache_bb()
            nearest = shape.point_query(pusher.position)
            too_deep = PUSHER_RADIUS_UNITS - DENT_UNITS - nearest.distance
            if too_deep > 0:
                way = (pusher.position - nearest.point).normalized() * (
                    1 if nearest.distance > 0 else -1
                )
                pusher.position += way * too_deep
                pusher.velocity -= way * min(0.0, pusher.velocity.dot(way))

    @property
    def _bodies(self) -> tuple[Any, Any]:
        return self._env.agent, self._env.block

    @property
    def _pusher(self) -> Float[np.ndarray, " 2"]:
        return np.array(self._env.agent.position, dtype=float)

    @property
    def _block(self) -> Float[np.ndarray, " 3"]:
        return np.array([*self._env.block.position, self._env.block.angle], dtype=float)

    def _picture(self, large: UInt8[np.ndarray, "512 512 3"]) -> UInt8[np.ndarray, "64 64 3"]:
        # area averaging keeps the sub-pixel position of every edge; gym-pusht's own bilinear 512 ->
        # 64 drops it
        return cv2.resize(large, (SIZE, SIZE), interpolation=cv2.INTER_AREA)

    @property
    def _middle(self) -> Float[np.ndarray, " 2"]:
        return self._block[:2] + 45 * np.array([-np.sin(self._block[2]), np.cos(self._block[2])])

    def _drive(self, rng: np.random.Generator) -> list[tuple[np.ndarray, int]]:
        """Head for a point on the T and on past it, from wherever the pusher is."""
        aim = self._middle + rng.normal(0, 45, 2)
        beyond = aim - self._pusher
        aim = aim + beyond / (np.linalg.norm(beyond) + 1e-6) * rng.uniform(0, 120)
        return [(np.clip(aim, 30, TABLE - 30), int(rng.integers(8, 28)))]

    def _push(self, rng: np.random.Generator) -> list[tuple[np.ndarray, int]]:
        """Go behind the T and push it, rather towards the middle of the table than away from it,
        or the other way round.
        """
        middle = self._middle
        inwards = (TABLE / 2 - middle) / 130
        way = (-inwards if self._outwards else inwards) + rng.normal(0, 0.7, 2)
        way /= np.linalg.norm(way) + 1e-6
        side = np.array([-way[1], way[0]])
        points = [middle - 115 * way, middle + rng.uniform(0, 150) * way]
        if (ahead := self._pusher - middle) @ way > -60:  # do not sweep the T away on the way there
            points.insert(0, middle + (130 if ahead @ side > 0 else -130) * side)
        lever = rng.normal(0, 22) * side  # off its middle the T turns
        return [
            (np.clip(point + lever, 30, TABLE - 30), int(rng.integers(8, 24))) for point in points
        ]

    def _hold(self, rng: np.random.Generator) -> int:
        if self._held is None or self._held[1] == 0:
            self._held = (int(rng.integers(len(MOVES))), int(rng.integers(1, 9)))
        action, left = self._held
        self._held = (action, left - 1)
        return action


def _upright(
    state: Float[np.ndarray, " 6"], sure: Float[np.ndarray, " 6"]
) -> tuple[Float[np.ndarray, " 2"], float]:
    """Return a T's place and angle, turned about its middle by thirds of a turn to be nearest to
    what it was when one was sure of it.
    """
    read, was = (float(np.arctan2(numbers[5], numbers[4])) for numbers in (state, sure))
    third = 2 * np.pi / 3
    angle = read + third * round((was - read) / third)
    centre = BLOCK_CENTRE_UNITS[1] * np.array([[-np.sin(x), np.cos(x)] for x in (read, angle)])
    return np.asarray(state[2:4], float) * UNITS_PER_PX + centre[0] - centre[1], angle


def _room(angle: float) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]]:
    """Return the least and the greatest x and y, in units,
    between which a T turned by an angle lies clear of the walls.
    """
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    hull = np.array(BLOCK_HULL_UNITS) @ turn.T
    return WALL_UNITS - hull.min(0), TABLE - WALL_UNITS - hull.max(0)


def _gap(point: Float[np.ndarray, " 2"], block: Float[np.ndarray, " 2"], angle: float) -> float:
    """Return how far a point is from a T that lies at a place and an angle, all in units;
    0 inside.
    """
    along, across = (
        np.array([np.cos(angle), np.sin(angle)]),
        np.array([-np.sin(angle), np.cos(angle)]),
    )
    own = np.array([(point - block) @ along, (point - block) @ across])
    return min(
        float(np.linalg.norm(own - np.clip(own, part[:2], part[2:]))) for part in BLOCK_PARTS_UNITS
    )


def _beside(
    pusher: Float[np.ndarray, " 2"], block: Float[np.ndarray, " 2"], angle: float
) -> Float[np.ndarray, " 2"]:
    """Return the place on the table nearest to a pusher's at which it is not inside a T;
    all in units.
    """
    turns = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    for distance in range(0, int(TABLE), 2):
        for turn in turns:
            place = pusher + distance * np.array([np.cos(turn), np.sin(turn)])
            place = place if distance else np.clip(place, MARGIN_UNITS, TABLE - MARGIN_UNITS)
            inside = (place >= MARGIN_UNITS).all() and (place <= TABLE - MARGIN_UNITS).all()
            if inside and _gap(place, block, angle) >= PUSHER_RADIUS_UNITS - DENT_UNITS:
                return place
    raise AssertionError("the table is larger than the T")


def nearest_move(offset: Float[np.ndarray, " 2"]) -> int:
    """Return the menu action whose direction is nearest to an (x, y) offset;
    staying within half a step.
    """
    if np.linalg.norm(offset) < STEP_UNITS / 4:
        return 0
    units = np.array(MOVES[1:], dtype=float)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    return 1 + int(np.argmax(units @ offset))


def script(states: Float[np.ndarray, "n 6"], task: str) -> Int[np.ndarray, " n"]:
    """Return a scripted player's moves: straight at the T (``reach``), or round behind it and
    towards the goal (``push``).

    Args:
        states: as `PushTSimulator.state` gives them.
        task: name of the task.
    """
    pusher, lever = states[:, :2], BLOCK_CENTRE_UNITS[1] / UNITS_PER_PX
    middle = states[:, 2:4] + lever * np.stack([-states[:, 5], states[:, 4]], -1)
    if task == "reach":
        aim = middle
    else:
        way = GOAL_MIDDLE_PX - middle
        way = way / (np.linalg.norm(way, axis=1, keepdims=True) + 1e-6)
        side = np.stack([-way[:, 1], way[:, 0]], -1)
        along, beside = (
            ((pusher - middle) * way).sum(1, keepdims=True),
            ((pusher - middle) * side).sum(1, keepdims=True),
        )
        behind, round_it = (
            middle - 14 * way,
            middle + np.where(beside > 0, 16, -16) * side - 6 * way,
        )
        aim = np.where(along > -4, round_it, np.where(np.abs(beside) > 4, behind, GOAL_MIDDLE_PX))
    return np.array([nearest_move(offset) for offset in (aim - pusher) * UNITS_PER_PX])
