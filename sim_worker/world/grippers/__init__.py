"""The hands: floating jaw and cup, the whole arm, and how a grasp is executed."""
