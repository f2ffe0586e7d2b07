const icon = (path: string) =>
  function Icon() {
    return (
      <svg
        aria-hidden
        fill="none"
        height="1em"
        stroke="currentColor"
        strokeLinecap="round"
        strokeWidth="2"
        viewBox="0 0 24 24"
        width="1em"
      >
        <path d={path} />
      </svg>
    );
  };

export const UpIcon = icon("M12 19V5M6 11l6-6 6 6");
export const DownIcon = icon("M12 5v14M6 13l6 6 6-6");
export const RemoveIcon = icon("M6 6l12 12M18 6L6 18");
export const OpenIcon = icon("M9 6l6 6-6 6");
export const ShutIcon = icon("M6 9l6 6 6-6");
export const PinIcon = icon("M9 4h6M10 4v7l-3 4h10l-3-4V4M12 15v5");
export const LockIcon = icon("M6 11h12v9H6zM8 11V7a4 4 0 0 1 8 0v4");
export const UndoIcon = icon("M9 7L4 12l5 5M4 12h10a6 6 0 0 1 6 6");
export const RedoIcon = icon("M15 7l5 5-5 5M20 12H10a6 6 0 0 0-6 6");
export const DownloadIcon = icon("M12 4v11M7 11l5 5 5-5M5 20h14");
