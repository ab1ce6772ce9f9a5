"""Train PPO in the generated world, test it in the real simulator.

python examples/train_ppo.py [--steps 12000] [--episodes 50]
"""

import argparse
from pathlib import Path

from streamdit_gym.agents.agent_config import AgentTraining
from streamdit_gym.agents.policy_scores import EvaluationSettings, score_policy
from streamdit_gym.agents.train_agent import train_agent

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=12_000)
parser.add_argument("--episodes", type=int, default=50)
parser.add_argument("--out", type=Path, default=Path("runs/example"))
arguments = parser.parse_args()

agent, curve = train_agent(
    AgentTraining(env="StreamDiT/PushT-Reach-v0", steps=arguments.steps), arguments.out
)
settings = EvaluationSettings(episodes=arguments.episodes)
for env in ("StreamDiT/PushT-Reach-v0", "StreamDiT/PushT-Reach-Real-v0"):
    print(f"{env:32s} random {score_policy('random', env, settings)}")
    print(f"{env:32s} PPO    {score_policy(agent, env, settings)}")
