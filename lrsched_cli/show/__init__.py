"""What a person sees of schedules: tables, figures, terminal plots and summaries."""
