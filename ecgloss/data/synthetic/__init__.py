"""A synthetic 12-lead cohort, simulated step by step: people, hearts, beats, and the recorder.

``population`` draws risk factors and latent disease, ``patient`` turns them into a heart and its rhythm traits,
``rhythm`` places the beats, ``heart_vector`` renders the dipole of the heart over time, and ``recorder`` projects it on
twelve leads and adds noise. ``cohort`` runs all of them.
"""

from __future__ import annotations

from ecgloss.data.synthetic.cohort import cohort

__all__ = ["cohort"]
