"""An agent learns to keep a point near the middle: actions drawn from its policy, returns against its own estimate."""

from collections import namedtuple
from itertools import count

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

SavedAction = namedtuple("SavedAction", ["log_prob", "value", "entropy"])


class Line:
    """A point on a line that an action pushes to either side, and that drifts."""

    def __init__(self, seed):
        self.draw = np.random.RandomState(seed)

    def reset(self):
        self.position, self.speed = self.draw.uniform(-0.5, 0.5), 0.0
        return np.array([self.position, self.speed])

    def step(self, action):
        self.speed = 0.8 * self.speed + 0.2 * (action - 1) + 0.05 * self.draw.randn()
        self.position += self.speed
        return np.array([self.position, self.speed]), 1.0 - abs(self.position), abs(self.position) > 1.5


class Policy(nn.Module):
    def __init__(self, hidden=12):
        super(Policy, self).__init__()
        self.affine1 = nn.Linear(2, hidden)
        self.action_head = nn.Linear(hidden, 3)
        self.value_head = nn.Linear(hidden, 1)
        self.saved_actions = []
        self.rewards = []

    def forward(self, x):
        x = F.relu(self.affine1(x))
        return F.log_softmax(self.action_head(x), dim=-1), self.value_head(x)


def select_action(model, state):
    state = torch.from_numpy(state).to(torch.get_default_dtype())
    log_probs, state_value = model(state)
    probs = log_probs.exp()
    action = torch.multinomial(probs.detach(), 1)
    entropy = -(probs * log_probs).sum()
    model.saved_actions.append(SavedAction(log_probs.gather(0, action).squeeze(), state_value, entropy))
    return action.item()


def finish_episode(model, optimizer, gamma):
    R = 0
    policy_losses, value_losses, rewards_to_go = [], [], []
    for r in model.rewards[::-1]:
        R = r + gamma * R
        rewards_to_go.append(R)
    returns = torch.tensor(rewards_to_go[::-1])
    returns = (returns - returns.mean()) / (returns.std() + np.finfo(np.float32).eps.item())
    for (log_prob, value, entropy), R in zip(model.saved_actions, returns):
        advantage = R - value.item()
        policy_losses.append(-log_prob * advantage - 0.01 * entropy)
        value_losses.append(F.smooth_l1_loss(value, torch.tensor([R.item()])))
    optimizer.zero_grad()
    loss = torch.stack(policy_losses).sum() + torch.stack(value_losses).sum()
    loss.backward()
    optimizer.step()
    del model.rewards[:]
    del model.saved_actions[:]
    return loss.item()


def build(toy=False):
    return Policy()


def batch(draw, toy=False):
    return (draw.standard_normal(1),)


def run(net, batch):
    env, running_reward, told = Line(3), 0.0, []
    optimizer = optim.Adam(net.parameters(), lr=3e-2)
    for i_episode in count(1):
        state, ep_reward = env.reset(), 0
        for _ in range(1, 12):
            state, reward, done = env.step(select_action(net, state))
            net.rewards.append(reward)
            ep_reward += reward
            if done:
                break
        running_reward = 0.05 * ep_reward + (1 - 0.05) * running_reward
        told.append((finish_episode(net, optimizer, 0.95), ep_reward, running_reward))
        if i_episode >= 6:
            return told
