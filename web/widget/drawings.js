// One picture each, drawn with lines; and the one of an empty inbox. The server draws the same: what stands between the
// outer braces is JSON.

export default {
  "none": "M12.5 22.5v-5h4c3.6 0 6.4-1.4 9-4.5v14c-2.6-3.1-5.4-4.5-9-4.5zM15.5 22.5v5M28.8 17.3a4.6 4.6 0 0 1 0 5.4",
  "info": "M11.2 20a8.8 8.8 0 1 0 17.6 0 8.8 8.8 0 1 0-17.6 0M20 19.3v5M20 15.6v.1",
  "success": "M11.2 20a8.8 8.8 0 1 0 17.6 0 8.8 8.8 0 1 0-17.6 0M16 20.4l2.9 2.9 5.2-6",
  "warning": "M20 11.4 29.2 27.6H10.8zM20 17.5v4.6M20 24.8v.1",
  "error": "M16.4 11.2h7.2l5.2 5.2v7.2l-5.2 5.2h-7.2l-5.2-5.2v-7.2zM17.2 17.2l5.6 5.6M22.8 17.2l-5.6 5.6",
  "read": "m13 20.5 4.6 4.6L27.4 15",
  "archive": "M12 13.5h16v4H12zM13.5 17.5v10h13v-10M17.5 21h5",
  "restore": "M14 17.5h8a4.5 4.5 0 0 1 0 9h-5M17.5 13.5l-4 4 4 4",
  "menu": "M13 20v.1M20 20v.1M27 20v.1",
  "close": "m14 14 12 12M26 14 14 26",
  "empty": "<svg class='empty-picture' viewBox='0 0 200 120' aria-hidden='true'><circle class='empty-sun' cx='104' cy='54' r='52'/><path class='empty-stand' d='M20 108h160M58 108V68m-8-7 8 8 8-8M118 108V71m-8-7 8 8 8-8'/><path class='empty-flag' d='M74 56h30v38l-15-11-15 11z'/><path class='empty-horn' d='M40 50h62c20 0 34-8 44-25 7 8 9 19 9 30.5s-2 22.5-9 30.5C136 69 122 61 102 61H40z'/><path class='empty-gleam' d='M40 50h62c20 0 34-8 44-25l2.5 3.5C138 46 122 53.5 102 53.5H40z'/><ellipse class='empty-bell' cx='147' cy='55.5' rx='8.5' ry='31'/><rect class='empty-horn' x='31' y='44.5' width='11' height='22' rx='5.5'/></svg>"
};
