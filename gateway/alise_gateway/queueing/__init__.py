"""Stage 2: requests wait here until a backend has room; decisions are pure, one owner acts."""
