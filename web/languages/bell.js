// What is said before anybody opens the bell: the words that are there at once, in all languages. The rest of a language has a
// file of its own.

export default {
  "en": {
    "notifications": "Notifications",
    "count_one": "{count} unread",
    "count_other": "{count} unread",
    "new_one": "{count} new notification",
    "new_other": "{count} new notifications",
    "failed_load": "The notifications cannot be loaded",
    "failed_load_text": "We keep trying. What arrives meanwhile is not lost.",
    "retry": "Try again"
  },
  "es": {
    "notifications": "Notificaciones",
    "count_one": "{count} sin leer",
    "count_other": "{count} sin leer",
    "new_one": "{count} notificación nueva",
    "new_other": "{count} notificaciones nuevas",
    "failed_load": "No se pueden cargar las notificaciones",
    "failed_load_text": "Seguimos intentándolo. Lo que llegue mientras tanto no se pierde.",
    "retry": "Reintentar"
  }
};
