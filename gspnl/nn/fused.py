import torch


def softmax_attention(q, k, v):
    return torch.softmax(q @ k.mT, -1) @ v


def joint_attention(q, k, v, log_degrees=False):
    s = q @ k.mT
    l = torch.logaddexp(s, s.mT)
    return torch.softmax(l, -1) @ v, (
        torch.logsumexp(l, -1) - 0.6931471805599453 if log_degrees else None
    )
