-- Reads a whole folder of configuration files, copied from a router's flash or a TFTP server.
--
--   local found = folder.read(path, files)
--
-- found is { files = { file as cnf.read returns it, with path = }, problems = { text }, copies = { path } };
-- `files` gives access to the file
-- system: list(path) returns an iterator over names, or nil and an error; is_folder(path); open(path, "rb").

local M = { DEEPEST = 5, MOST = 200000 }

local others = ... or {}  -- the modules by name (plain.lua)
local cnf, excerpt, names, visible = others.cnf, others.excerpt, others.names, others.visible

-- Open a file without blocking.  Lua cannot query the type of a file, and opening a named pipe for reading only waits for a
-- writer, which would freeze the window; opening it for reading and writing never waits (fifo(7)).  A file without write
-- permission is opened for reading only, so only a pipe that the user may read but not write can still block.
local function opened(path, files)
    local handle
    if package.config:sub(1, 1) == "/" then  -- on Windows, folders contain no pipes
        handle = files.open(path, "r+b")
    end
    if handle then
        return handle
    end
    return files.open(path, "rb")
end

-- Return the content of a file, or nil and an error.  The size is checked first: large files, and files without a size (a
-- pipe, a device), are not read.
local function content_of(path, files)
    local handle, problem = opened(path, files)
    if not handle then
        return nil, "it cannot be opened (" .. tostring(problem):gsub("^.*: ", "") .. ")"
    end
    local size = handle:seek("end")
    local content
    if not size then
        problem = "it is not a regular file"
    elseif size == 0 then
        problem = "it is empty"
    elseif size > cnf.LARGEST then
        problem = ("it has %.0f MB; a phone's configuration has only some kilobytes"):format(size / 1048576)
    else
        handle:seek("set")
        content = handle:read(size)
        problem = "it cannot be read"
    end
    handle:close()
    return content, problem
end

--- Read all configuration files in a folder and in the folders in it.
-- Only files with names that phones request are opened; copies under other names (SEP....cnf.xml.bak) are listed.  The
-- problems name the files that cannot be read.
function M.read(path, files)
    local found = { files = {}, problems = {}, copies = {} }
    local looked_at = 0
    -- A folder with the same names as one above it is that folder, reached by a link: Lua cannot detect links.
    local function visit(folder, depth, above)
        local list, problem = files.list(folder)
        if not list then
            found.problems[#found.problems + 1] = ("%s: %s"):format(visible.text(folder), problem)
            return
        end
        local entries = {}
        for name in list do
            entries[#entries + 1] = name
        end
        table.sort(entries)
        local listing = table.concat(entries, "\0")
        if above[listing] then
            return
        end
        above[listing] = true
        local separator = folder:find("[/\\]$") and "" or "/"
        for _, name in ipairs(entries) do
            looked_at = looked_at + 1
            if looked_at > M.MOST then
                found.problems[#found.problems + 1] =
                    ("%s: more than %d files; the rest is not read"):format(visible.text(path), M.MOST)
                return
            end
            local whole = folder .. separator .. name
            if names.device(name) then
                local content, trouble = content_of(whole, files)
                local file
                if content then
                    file, trouble = cnf.read(name, content)
                end
                if content and not file then
                    local why
                    file, why = excerpt.read(name, content)
                    trouble = why or trouble
                end
                if file then
                    file.path = whole
                    found.files[#found.files + 1] = file
                    for _, text in ipairs(cnf.problems(file)) do
                        found.problems[#found.problems + 1] = visible.text(("%s: %s"):format(whole, text), 400)
                    end
                else
                    found.problems[#found.problems + 1] = visible.text(("%s: %s"):format(whole, trouble), 400)
                end
            elseif depth < M.DEEPEST and files.is_folder(whole) then
                visit(whole, depth + 1, above)
            elseif names.is_copy(name) then
                found.copies[#found.copies + 1] = whole
            end
        end
        above[listing] = nil
    end
    visit(path, 1, {})
    return found
end

return M
