"""The server with room for a hundred recent plans: what is left of requests must not grow, and is soon as large as it gets."""

from inference_server.__main__ import main
from inference_server.outcomes.recent_plans import RecentPlans

if __name__ == "__main__":
    RecentPlans.__init__.__defaults__ = (2**20,)
    main()
