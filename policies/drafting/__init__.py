"""A world of draft tokens: what a drafter proposes and believes, and what the target accepts, without either model.

``drafter`` says how likely draft tokens are accepted, ``known`` holds what was fitted to published measurements, and ``world``
draws from it. What is accepted, and what a drafter believes is accepted, are two things: a drafter can be over-confident.
"""
